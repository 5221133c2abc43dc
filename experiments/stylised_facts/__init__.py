"""Does the stylised-facts market look like the series that it was calibrated on?"""
