"""How little can a controller disrupt, and what does it cost?"""
