/* The power button of a machine: every input device with KEY_POWER (ACPI's, and keyboards: one
 * cannot tell which is pressed). */
#ifndef SUPERVISOR_NODE_POWER_BUTTON_H
#define SUPERVISOR_NODE_POWER_BUTTON_H

#include "src/base/loop.h"

/* Watches those that are there now; calls pressed(owner). A machine without any is no error. */
void power_button_open(struct loop *loop, void (*pressed)(void *owner), void *owner);

#endif
