/*
 * How a service becomes ready, one way each: as soon as it runs, by a newline on a descriptor, by a
 * pid file (by a message: notify.h; by a probe: instance.h).
 *
 * Everything here is told by the kernel; nothing is asked for again and again. All pid files share
 * one inotify(7) descriptor; while a service waits for its file, all directories on the way to it
 * are watched, as far as they are there.
 */
#ifndef SUPERVISOR_SUPERVISE_READY_H
#define SUPERVISOR_SUPERVISE_READY_H

#include <sys/types.h>

struct supervisor;
struct instance;

/* The supervisor's part; a kernel without inotify is said when a service needs it. */
void ready_open(struct supervisor *supervisor);
void ready_init(struct instance *instance);
/* Before its start command is spawned. 0, *pass_fd: what is to be descriptor `ready_fd` of it, for
 * the caller to close, or -1: nothing; -1 with errno. */
int ready_prepare(struct instance *instance, int *pass_fd);
/* The start command was executed. */
void ready_executing(struct instance *instance);
/* Its pid file or MAINPID= named that process, and it is now the main one (`why` NULL), or is not
 * to be. */
void ready_recognized(struct instance *instance, pid_t pid, const char *why);
/* It is ready, or its run is over: nothing is waited for any more. */
void ready_over(struct instance *instance);

#endif
