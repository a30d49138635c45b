/* What is left in a network namespace by a file server whose worker was killed. */
#ifndef SUPERVISOR_SERVICES_NFSD_NFSD_H
#define SUPERVISOR_SERVICES_NFSD_NFSD_H

/*
 * Ends the kernel's threads in the network namespace that the caller is in, and makes them let go
 * of the filesystem. The caller gets a mount namespace of its own on the way. 0 also when there
 * were none; -1 with a message printed.
 */
int nfsd_end_leftovers(void);

#endif
