"""Calls that are made through a provider's batch endpoint, within a day and at about half of the price."""
