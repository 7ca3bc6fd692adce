"""hlvbench: can a model learn how one particular annotator decides and explains?"""

__version__ = "0.2.0"
