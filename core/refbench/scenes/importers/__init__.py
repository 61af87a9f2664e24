"""Foreign scene folders, one module a layout."""
