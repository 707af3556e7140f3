python -m pytest test_custom_backend.py
