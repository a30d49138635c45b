/*
 * What only PID 1 of a whole machine does. Each step that fails is said and left out: a machine
 * that boots half way can be asked why, one whose init gave up cannot.
 */
#ifndef SUPERVISOR_NODE_MACHINE_H
#define SUPERVISOR_NODE_MACHINE_H

#include <stdbool.h>
#include <stddef.h>

#include "src/config/config.h"

/* We are PID 1 of the machine's first PID namespace (mounts /proc to find out, if it is not there).
 */
bool machine_is_ours(void);
/* proc, sys, dev, devpts, shm, run, tmp, cgroup2; standard descriptors on the console; ctrl-alt-del
 * becomes SIGINT. */
void machine_mount_early(void);
/* All but those of `loaded` (may be NULL), which are loaded already. */
void machine_load_modules(const struct words *modules, const struct words *loaded);
/*
 * Unpacks the config disk, if there is one, below `directory`: a disk of serial "config" that holds
 * a tar (ustar) of node.conf, cluster.conf and, optionally, services/ and profiles/. node.conf
 * becomes readable for root alone.
 */
void machine_read_config_disk(const char *directory);
void machine_set_name(const char *name);
/* So that 127.0.0.1 answers, whatever network the services bring. */
void machine_raise_loopback(void);
void machine_apply_sysctls(const struct sysctl_def *sysctl, size_t count);

#endif
