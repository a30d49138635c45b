/* supervisor log NAME [-f] [-n LINES]: prints what the log process keeps (src/log/store.h). */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/log.h"
#include "src/control/client.h"
#include "src/control/commands.h"

#define LINES_DEFAULT 50

struct file {
	char path[512];
	int fd;
};

static bool open_log(struct file *file, const char *run_dir, const char *name, const char *suffix)
{
	snprintf(file->path, sizeof(file->path), "%s/log/%s.log%s", run_dir, name, suffix);
	struct stat st;
	/* The directory is the log process's: nothing that it puts there makes us wait, or leads
	 * elsewhere. */
	file->fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (file->fd < 0)
		return false;
	if (fstat(file->fd, &st) == 0 && S_ISREG(st.st_mode))
		return true;
	close(file->fd);
	errno = EINVAL;
	return false;
}

/* Copies from the present place to the end. */
static void copy(int fd)
{
	char buffer[16384];
	ssize_t n;

	while ((n = read(fd, buffer, sizeof(buffer))) > 0)
		fwrite(buffer, 1, (size_t)n, stdout);
	fflush(stdout);
}

/* Places fd so that `lines` lines remain; returns how many of them are missing. Files are rotated
 * early: they stay small. */
static long seek_lines(int fd, long lines)
{
	struct stat st;
	char *text = NULL;
	off_t at = 0;

	if (fstat(fd, &st) == 0 && st.st_size > 0)
		text = malloc((size_t)st.st_size);
	if (!text)
		return lines;
	ssize_t n = pread(fd, text, (size_t)st.st_size, 0);
	for (at = n; at > 0; at--)
		if (text[at - 1] == '\n' && at != n && lines-- == 1)
			break;
	/* The first line of the file has no newline before it. */
	long missing = at > 0 ? 0 : lines - 1;
	lseek(fd, at, SEEK_SET);
	free(text);
	return missing < 0 ? 0 : missing;
}

static int follow(struct file *now, const char *run_dir, const char *name)
{
	_Alignas(struct inotify_event) char events[4096];
	char directory[512];
	int notify = inotify_init1(IN_CLOEXEC);

	snprintf(directory, sizeof(directory), "%s/log", run_dir);
	if (notify < 0 ||
	    inotify_add_watch(notify, directory, IN_MODIFY | IN_CREATE | IN_MOVED_TO) < 0) {
		log_warn("watch %s", directory);
		return EXIT_NO;
	}
	for (;;) {
		struct stat here, there;
		copy(now->fd);
		if (stat(now->path, &there) == 0 && fstat(now->fd, &here) == 0 &&
		    here.st_ino != there.st_ino) {
			copy(now->fd); /* what came between our last look and the rotation */
			close(now->fd);
			if (!open_log(now, run_dir, name, ""))
				return EXIT_NO;
			continue;
		}
		if (read(notify, events, sizeof(events)) < 0 && errno != EINTR)
			return EXIT_NO;
		if (ferror(stdout))
			return EXIT_NO;
	}
}

int cmd_log(int argc, char **argv)
{
	struct client_options options;
	struct file now, before;

	if (client_options(argc, argv, "Fn", 1, 1, "log NAME [-f] [-n LINES]", &options) < 0)
		return EXIT_USAGE;
	const char *name = options.argument[0];
	long lines = options.lines >= 0 ? options.lines : LINES_DEFAULT;
	if (strchr(name, '/') || !open_log(&now, options.run_dir, name, "")) {
		log_warnx("nothing is kept in %s/log of a service called \"%s\"", options.run_dir,
			  name);
		return EXIT_NO;
	}
	long missing = lines ? seek_lines(now.fd, lines) : (lseek(now.fd, 0, SEEK_END), 0);
	if (missing > 0 && open_log(&before, options.run_dir, name, ".1")) {
		seek_lines(before.fd, missing);
		copy(before.fd);
		close(before.fd);
	}
	if (options.follow)
		return follow(&now, options.run_dir, name);
	copy(now.fd);
	return EXIT_FINE;
}
