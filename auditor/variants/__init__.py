"""Does another form of a model cost robustness? Its variants are made or given, audited alike, and compared."""
