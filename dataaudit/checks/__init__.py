"""Checks: what else an audit looks at, one check in each file; `registry` lists them."""
