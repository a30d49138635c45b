/*
 * The end of a machine, after its services: what is left is ended, all is unmounted and written,
 * and the machine goes off. Whatever the kernel may hang in (umount, sync, reboot itself) happens
 * in a child process with a deadline; the process that calls this only waits. Nothing here takes
 * longer than FINISH_MS, and REBOOT_MS after that the kernel is told to reset by sysrq, which waits
 * for nothing.
 */
#ifndef SUPERVISOR_NODE_FINISH_H
#define SUPERVISOR_NODE_FINISH_H

#include <stdbool.h>

#define FINISH_MS 30000 /* all steps before reboot(2) together */
#define REBOOT_MS 10000 /* reboot(2), and then each thing tried in its place */

enum machine_end { MACHINE_POWEROFF, MACHINE_REBOOT, MACHINE_HALT, MACHINE_KEXEC };

/*
 * Only for process 1: ends every process of its PID namespace, by TERM, a while later by KILL, and
 * reaps them. False: some are still there, and were named.
 */
bool finish_processes(void);
/* All of it, then power off, reboot, halt or jump into the kernel that was loaded by kexec. */
_Noreturn void finish_machine(enum machine_end end);
/* /sys/kernel/kexec_loaded: kexec_load(2) has been given a kernel. */
bool finish_can_kexec(void);

#endif
