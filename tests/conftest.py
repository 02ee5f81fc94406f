"""What holds for all tests."""

from hypothesis import HealthCheck, settings

# A busy machine makes an example slow, not wrong; pytest's timeout ends what does not end.
settings.register_profile(
    "busy", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("busy")
