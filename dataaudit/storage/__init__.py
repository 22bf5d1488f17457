"""Where bytes lie: places on object stores, copied here; and large arrays on disk."""
