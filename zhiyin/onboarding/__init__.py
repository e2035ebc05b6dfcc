"""Onboarding: profile a company's files, map their columns to the contract, write the dataset's folder, build it."""
