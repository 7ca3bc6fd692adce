"""Attribution: can somebody else tell whose answer this is? (METRICS.md section 8)"""
