"""Attribution: can somebody else tell whose answer this is? (docs/metrics.md section 8)"""
