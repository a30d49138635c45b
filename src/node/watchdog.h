/*
 * The machine's hardware watchdog (Documentation/watchdog/watchdog-api.rst): a device that resets
 * the machine unless it is fed in time. It is fed from the event loop, thrice a timeout, and only
 * as long as whoever is asked then says that all is well. Nothing but a halt disarms it: a
 * supervisor that dies, hangs or is killed leaves it running.
 *
 * One a process. Every call does nothing while none is open.
 */
#ifndef SUPERVISOR_NODE_WATCHDOG_H
#define SUPERVISOR_NODE_WATCHDOG_H

#include <stdbool.h>
#include <stdint.h>

#include "src/base/loop.h"
#include "src/config/config.h"

/*
 * Opens the device and sets its timeout; it runs from then on. Called again, it changes the timeout
 * of the one that is open: another device is refused. Without a device in `def` nothing happens.
 * Says what went wrong; a machine without its watchdog goes on.
 */
void watchdog_open(const struct watchdog_def *def);
/* What the whole configuration says, if that is something else: open, change or disarm. */
void watchdog_take(const struct watchdog_def *def);
/* Now, by hand: while the loop does not run yet. */
void watchdog_feed(void);
/* From now on by the loop, as long as alive(owner) says so each time. */
void watchdog_run(struct loop *loop, bool (*alive)(void *owner), void *owner);
/*
 * Once and for all, at the beginning of the end: `ms` without being fed must not be too long. Where
 * the device's timeout cannot be that long, watchdog_keep goes on feeding.
 */
void watchdog_cover(uint32_t ms);
/* Feeds if nothing else does; returns after how many milliseconds it wants to be called again,
 * UINT64_MAX: never. */
uint64_t watchdog_keep(void);
/* The machine is to stand still from now on. */
void watchdog_disarm(void);

#endif
