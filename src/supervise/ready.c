#include "src/supervise/ready.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "src/base/log.h"
#include "src/supervise/main_process.h"
#include "src/supervise/supervise.h"

#define PIPE_BYTES_MAX	   4096 /* without a newline: then it is not listened to any more */
#define LOOKS_MAX	   64	/* at a way that changes while it is looked at */
#define COMPLAINT_EVERY_MS 1000
/* A directory's, while a file in it is waited for: also of files that stay open after they were
 * written, or change their owner. */
#define FILE_EVENTS                                                                          \
	(IN_CREATE | IN_MOVED_TO | IN_CLOSE_WRITE | IN_MODIFY | IN_ATTRIB | IN_DELETE_SELF | \
	 IN_MOVE_SELF | IN_ONLYDIR)

static void pipe_ready(struct watch *watch, uint32_t events);
static void files_ready(struct watch *watch, uint32_t events);

void ready_open(struct supervisor *sv)
{
	sv->files = (struct watch){.ready = files_ready, .owner = sv};
	sv->files.fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (sv->files.fd >= 0 && loop_add(&sv->loop, &sv->files, EPOLLIN) < 0)
		log_warn("watch files");
}

void ready_init(struct instance *instance)
{
	instance->ready_pipe = (struct watch){.fd = -1, .ready = pipe_ready, .owner = instance};
}

static void became_ready(struct instance *instance)
{
	ready_over(instance);
	supervise_event(instance->supervisor, instance->index, LIFE_BECAME_READY);
}

/* --- a newline on a descriptor */

static int open_pipe(struct instance *instance, int *pass_fd)
{
	int end[2];

	if (pipe2(end, O_CLOEXEC) < 0)
		return -1;
	instance->ready_pipe.fd = end[0];
	if (fcntl(end[0], F_SETFL, O_NONBLOCK) == 0 &&
	    loop_add(&instance->supervisor->loop, &instance->ready_pipe, EPOLLIN) == 0) {
		*pass_fd = end[1];
		return 0;
	}
	int error = errno;
	close(end[0]);
	close(end[1]);
	instance->ready_pipe.fd = -1;
	errno = error;
	return -1;
}

static void pipe_ready(struct watch *watch, uint32_t events)
{
	struct instance *instance = watch->owner;
	char bytes[256];

	(void)events;
	ssize_t n = read(watch->fd, bytes, sizeof(bytes));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0 && memchr(bytes, '\n', (size_t)n)) {
		became_ready(instance);
		return;
	}
	if (n > 0 && (instance->ready_bytes += (size_t)n) <= PIPE_BYTES_MAX)
		return;
	loop_close(&instance->supervisor->loop, watch);
	snprintf(instance->ready_problem, sizeof(instance->ready_problem), "%s",
		 n > 0 ? "no newline in all that it wrote" : "it was closed without a newline");
}

/* --- a pid file */

static void problem(struct instance *instance, const char *text)
{
	snprintf(instance->ready_problem, sizeof(instance->ready_problem), "%s", text);
}

static bool watches(const struct instance *instance, int watch)
{
	for (size_t i = 0; i < instance->file_watches.count; i++)
		if (instance->file_watches.watch[i] == watch)
			return true;
	return false;
}

/* One directory, one watch, whoever waits for a file there. */
static void replace_watches(struct instance *instance, const struct ready_watches *by)
{
	struct supervisor *sv = instance->supervisor;
	const struct ready_watches before = instance->file_watches;

	instance->file_watches = *by;
	for (size_t i = 0; i < before.count; i++) {
		bool used = false;
		for (size_t k = 0; k < sv->count && !used; k++)
			used = watches(sv->instance[k], before.watch[i]);
		if (!used)
			inotify_rm_watch(sv->files.fd, before.watch[i]);
	}
}

struct way {
	int files_fd;
	struct ready_watches watches;
};

/* By its descriptor, since its path may mean another one by now. */
static int watch_directory(void *context, int directory_fd)
{
	struct way *way = context;
	char path[32];

	if (way->watches.count == READY_WATCHES_MAX) {
		errno = ENAMETOOLONG;
		return -1;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", directory_fd);
	int watch = inotify_add_watch(way->files_fd, path, FILE_EVENTS);
	if (watch < 0)
		return -1;
	way->watches.watch[way->watches.count++] = watch;
	return 0;
}

/* Finds the way as far as it goes now, with a watch on all of it. -1 with errno: that cannot be. */
static int find_watched(struct instance *instance, struct pid_file_place *place)
{
	for (int i = 0; i < LOOKS_MAX; i++) {
		struct way way = {.files_fd = instance->supervisor->files.fd};
		const struct ready_watches before = instance->file_watches;
		if (pid_file_find(instance->def->ready_path, place, watch_directory, &way) < 0)
			return -1;
		replace_watches(instance, &way.watches);
		/* What was made before the watch was there, only another look shows. */
		if (memcmp(&before, &way.watches, sizeof(before)) == 0)
			return 0;
		close(place->directory_fd);
	}
	errno = ELOOP;
	return -1;
}

/* What is in the way, said once for each new thing. */
static void refuse_file(struct instance *instance, const char *why)
{
	uint64_t now_ms = loop_now_ms();
	bool new = strcmp(instance->ready_problem, why) != 0;

	problem(instance, why);
	if (!new || now_ms < instance->complain_at_ms)
		return;
	instance->complain_at_ms = now_ms + COMPLAINT_EVERY_MS;
	log_warnx("%s: pid file %s: %s", instance->def->name, instance->def->ready_path, why);
}

static uid_t owner_of(const struct service_def *def)
{
	return def->has_user ? def->uid : 0;
}

static void look_for_file(struct instance *instance);

static void take_pid(struct instance *instance, int64_t pid)
{
	char text[READY_PROBLEM_BYTES];
	const char *why = main_process_adopt(instance, (pid_t)pid);

	if (!why) {
		became_ready(instance);
		return;
	}
	if (why == main_process_pending)
		return;
	snprintf(text, sizeof(text), "%lld, which it names, %s", (long long)pid, why);
	refuse_file(instance, text);
}

void ready_recognized(struct instance *instance, pid_t pid, const char *why)
{
	char text[READY_PROBLEM_BYTES];

	if (instance->file_watches.count == 0) { /* it was said by a message */
		if (why)
			log_warnx("%s: MAINPID=%d refused: that process %s", instance->def->name,
				  (int)pid, why);
		return;
	}
	if (!why) {
		look_for_file(instance); /* the same number is there, or by now another one */
		return;
	}
	snprintf(text, sizeof(text), "%d, which it names, %s", (int)pid, why);
	refuse_file(instance, text);
}

static void look_for_file(struct instance *instance)
{
	struct pid_file_place place;
	struct pid_file file = {0};

	if (find_watched(instance, &place) < 0) {
		snprintf(instance->ready_problem, sizeof(instance->ready_problem),
			 "cannot be watched: %s", strerror(errno));
		log_warnx("%s: pid file %s %s", instance->def->name, instance->def->ready_path,
			  instance->ready_problem);
		return;
	}
	if (place.whole)
		pid_file_read(&place, owner_of(instance->def), &file);
	close(place.directory_fd);
	if (place.problem[0])
		refuse_file(instance, place.problem);
	else if (!file.there)
		problem(instance, "");
	else if (pid_file_same(&file, &instance->file_before))
		problem(instance, "what is there is older than its start");
	else if (file.problem[0])
		refuse_file(instance, file.problem);
	else
		take_pid(instance, file.pid);
}

/* An earlier run's, if there is one: the number in it may by now be that of a process of this run.
 */
static void remember_file(struct instance *instance)
{
	struct pid_file_place place;

	instance->file_before = (struct pid_file){0};
	if (pid_file_find(instance->def->ready_path, &place, NULL, NULL) < 0)
		return;
	if (place.whole)
		pid_file_read(&place, owner_of(instance->def), &instance->file_before);
	close(place.directory_fd);
}

/* Whether an event of one of its directories may be about its file, or a directory on the way. */
static bool concerns(const struct instance *instance, const struct inotify_event *event)
{
	const char *path = instance->def->ready_path;

	if (event->mask & IN_Q_OVERFLOW)
		return instance->file_watches.count > 0;
	if (!watches(instance, event->wd))
		return false;
	if (event->len == 0)
		return true;
	for (const char *part = path; (part = strchr(part, '/'));) {
		size_t length = strcspn(++part, "/");
		if (strlen(event->name) == length && memcmp(event->name, part, length) == 0)
			return true;
	}
	return false;
}

static void files_ready(struct watch *watch, uint32_t events)
{
	struct supervisor *sv = watch->owner;
	union {
		struct inotify_event align;
		char bytes[4096];
	} buffer;

	(void)events;
	ssize_t n = read(watch->fd, buffer.bytes, sizeof(buffer.bytes));
	for (size_t i = 0; i < sv->count; i++) {
		struct instance *instance = sv->instance[i];
		bool look = false;
		for (ssize_t at = 0; at < n && !look;) {
			const struct inotify_event *event =
				(const struct inotify_event *)(const void *)(buffer.bytes + at);
			look = concerns(instance, event);
			at += (ssize_t)(sizeof(*event) + event->len);
		}
		if (look)
			look_for_file(instance);
	}
}

/* --- all of them */

int ready_prepare(struct instance *instance, int *pass_fd)
{
	*pass_fd = -1;
	ready_over(instance);
	instance->ready_bytes = 0;
	problem(instance, "");
	if (instance->def->ready == READY_FD)
		return open_pipe(instance, pass_fd);
	if (instance->def->ready == READY_PID_FILE)
		remember_file(instance);
	return 0;
}

void ready_executing(struct instance *instance)
{
	if (instance->def->ready == READY_NOW)
		became_ready(instance);
	else if (instance->def->ready == READY_PID_FILE)
		look_for_file(instance);
}

void ready_over(struct instance *instance)
{
	loop_close(&instance->supervisor->loop, &instance->ready_pipe);
	replace_watches(instance, &(struct ready_watches){0});
}
