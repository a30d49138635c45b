/* Unix sockets of the switch: its ports, one a machine, and its control socket. */
#ifndef DEMO_SWITCH_UNIX_H
#define DEMO_SWITCH_UNIX_H

/* A non-blocking stream socket that listens at `path`, in place of whatever socket was there. -1
 * with errno. */
int unix_listen(const char *path);

#endif
