"""Authentication and authorisation: users, roles, the keys they may touch, and tokens.

`intervals` and `store` are pure and replicated; `tokens` and `jwt` belong to one member.
"""
