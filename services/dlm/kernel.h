/*
 * The kernel's side of DLM control: configfs (fs/dlm/config.c), sysfs (fs/dlm/lockspace.c), the
 * monitor device (fs/dlm/user.c). Values are written without a newline. All functions return 0, or
 * -1 with a message printed.
 */
#ifndef SERVICES_DLM_KERNEL_H
#define SERVICES_DLM_KERNEL_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Calls `each` with the name of every lockspace that the kernel has; `member`: an earlier process
 * has let it in. */
void kernel_lockspaces(void (*each)(const char *lockspace, bool member, void *), void *argument);

/*
 * Opens the monitor; its close, by our death, halts every lockspace. Describes the cluster anew,
 * unless `resume`: then an earlier process's description stands. Returns the monitor's descriptor.
 */
int kernel_open(const char *cluster_name, bool resume);
/* Removes what kernel_open and kernel_add_node made; what is still in use stays. */
void kernel_close(int monitor_fd);

/* DLM's own connections: one entry a node, anew for each life of a peer. One that is there stays.
 */
int kernel_add_node(uint16_t id, struct in_addr address, bool local);
void kernel_remove_node(uint16_t id);

int kernel_stop(const char *lockspace);
/* ids: the members; others known to the kernel are taken out before. */
int kernel_start(const char *lockspace, const uint16_t *ids, size_t count);
int kernel_forget(const char *lockspace, uint16_t id);
int kernel_joined(const char *lockspace);
int kernel_left(const char *lockspace);

/* A socket of kernel events (uevents); -1 with a message. */
int kernel_event_open(void);
/* Reads one event. 1: a lockspace wants to join (*online) or leave, its name in `lockspace`; 0:
 * something else; -1: nothing (left) to read. */
int kernel_event_read(int fd, bool *online, char *lockspace, size_t lockspace_bytes);

#endif
