"""The seam: translates between YANG and licensing, and decides nothing. The only importer of the bindings."""
