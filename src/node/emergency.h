/*
 * The emergency shell: where boot cannot go on, and `--emergency-shell=PATH` allows it, PATH runs
 * on the console. Only process 1 has one.
 */
#ifndef SUPERVISOR_NODE_EMERGENCY_H
#define SUPERVISOR_NODE_EMERGENCY_H

enum emergency_end {
	EMERGENCY_AGAIN,    /* it exited with 0: boot is to be tried again */
	EMERGENCY_REBOOT,   /* it ended otherwise, or SIGINT came */
	EMERGENCY_POWEROFF, /* SIGTERM or SIGPWR came, or the power button was pressed */
	EMERGENCY_FAILED,   /* it could not be run; said */
};

/* Says what is wrong (`why`), runs the program and waits for its end. Reaps all orphans
 * meanwhile. */
enum emergency_end emergency_run(const char *path, const char *why);

#endif
