"""The drivers that come with us, one file each; `distribution.delivery.open_source` finds them by entry point."""
