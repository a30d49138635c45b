/* The power button of a machine: an input device with KEY_POWER (ACPI, virtual machines). */
#ifndef SUPERVISOR_NODE_POWER_BUTTON_H
#define SUPERVISOR_NODE_POWER_BUTTON_H

#include "src/base/loop.h"

/* Watches the first such device; calls pressed(owner). A machine without one is no error. */
void power_button_open(struct loop *loop, struct watch *watch, void (*pressed)(void *owner),
		       void *owner);

#endif
