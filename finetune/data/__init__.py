"""Data for training: manifests, importers, checks, splits, augmentation, the ledger of consent."""
