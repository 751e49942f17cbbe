"""The audit's report: what each check asked, what it was told, and what was judged of it."""
