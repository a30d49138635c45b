/*
 * The pid that a service has left in a file, read by a process that must neither be led astray nor
 * made to wait: no part of the way there may be a symbolic link, the file is a regular one, and
 * root's or the service's own, and no more of it is read than a number needs.
 */
#ifndef SUPERVISOR_PROCESS_PID_FILE_H
#define SUPERVISOR_PROCESS_PID_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PID_FILE_PROBLEM_BYTES 80

/* Where on the way to a file things stand. */
struct pid_file_place {
	int directory_fd;   /* the last directory that is there; the caller's to close */
	const char *next;   /* what is looked for in it, part of the path */
	size_t next_length; /* without what follows it */
	bool whole;	    /* … is the file itself */
	/* "" or why the way ends here: "is a symbolic link", … */
	char problem[PID_FILE_PROBLEM_BYTES];
};

struct pid_file {
	bool there;  /* a file that has something in it */
	int64_t pid; /* 0: it names none, see `problem` */
	uint64_t device, inode, changed_ns;
	char problem[PID_FILE_PROBLEM_BYTES]; /* "belongs to user 65534", … */
};

/*
 * `path` is absolute, without //, . and .. Every directory on the way is shown to `each` (if not
 * NULL), the first one being /, as a descriptor that is closed afterwards. 0, or -1 with errno:
 * not even / could be opened, or `each` said -1.
 */
int pid_file_find(const char *path, struct pid_file_place *place,
		  int (*each)(void *context, int directory_fd), void *context);
/* The file of a place that is whole. `owner`: whose it may be, besides root's. */
void pid_file_read(const struct pid_file_place *place, uid_t owner, struct pid_file *file);
/* Nobody has written to it since. */
bool pid_file_same(const struct pid_file *a, const struct pid_file *b);

#endif
