"""What runs when.

Belongs here: Prefect flows and tasks, retries, Dask, schedules, the run ledger.
Does not: pixel arithmetic.
"""
