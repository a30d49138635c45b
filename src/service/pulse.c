#include "src/service/pulse.h"

void pulse_new(struct pulse *pulse)
{
	pulse->asked = false;
	pulse->silent = 0;
}

bool pulse_answered(struct pulse *pulse)
{
	if (!pulse->asked)
		return false;
	*pulse = (struct pulse){0};
	return true;
}

enum pulse_verdict pulse_look(struct pulse *pulse, bool there)
{
	if (!there) {
		pulse_new(pulse);
		return PULSE_WAIT;
	}
	if (!pulse->asked) {
		pulse->asked = true;
		pulse->silent = 0;
		return PULSE_ASK;
	}
	if (++pulse->silent < PULSE_LOOKS)
		return PULSE_WAIT;
	/* One that the kill does not end, either, is counted again. */
	pulse->silent = 0;
	if (pulse->kills < PULSE_KILLS)
		pulse->kills++;
	return PULSE_KILL;
}

bool pulse_is_lost(const struct pulse *pulse)
{
	return pulse->kills >= PULSE_KILLS;
}
