/*
 * Whether a helper process is there, judged by whether it answers: it is asked at each look, and
 * has until the look after the next to answer. One that is silent by then is killed, and its
 * successor gets the same chance. After PULSE_KILLS of them without a single answer it is lost.
 * Pure.
 *
 * A look is a feed of the hardware watchdog, a third of its timeout. So one kill costs two thirds
 * of a timeout, during which the watchdog is still fed, and a helper that cannot be had back stops
 * the feeding after 2 * PULSE_KILLS looks.
 */
#ifndef SUPERVISOR_SERVICE_PULSE_H
#define SUPERVISOR_SERVICE_PULSE_H

#include <stdbool.h>

#define PULSE_LOOKS 2
#define PULSE_KILLS 3

struct pulse {
	bool asked;	 /* and no answer yet */
	unsigned silent; /* looks since it was asked */
	unsigned kills;	 /* since it last answered */
};

enum pulse_verdict { PULSE_WAIT, PULSE_ASK, PULSE_KILL };

/* Another process than before is there. */
void pulse_new(struct pulse *pulse);
/* It has answered. False: it was not asked. */
bool pulse_answered(struct pulse *pulse);
/* `there`: it runs. What is to be done now. */
enum pulse_verdict pulse_look(struct pulse *pulse, bool there);
/* Neither it nor its successors answer. */
bool pulse_is_lost(const struct pulse *pulse);

#endif
