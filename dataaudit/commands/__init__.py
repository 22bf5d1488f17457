"""The commands, one in each file; `dataaudit.cli` joins them."""
