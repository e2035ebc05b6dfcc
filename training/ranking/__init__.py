"""The ranker: its training set, its trees and their calibration."""
