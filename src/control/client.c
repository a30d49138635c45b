#include "src/control/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "src/base/log.h"

/* The supervising process answers at once; what takes its time are services. */
#define ANSWER_SECONDS 30
/* How often to come back after it has made room for others. */
#define TRIES 100

static int usage_error(const char *usage, const char *what, const char *argument)
{
	fprintf(stderr, "supervisor: %s%s%s\nusage: supervisor %s\n", what, argument ? " " : "",
		argument ? argument : "", usage);
	return -1;
}

static bool allows(const char *allowed, char letter)
{
	return strchr(allowed, letter) != NULL;
}

static bool take_flag(const char *a, const char *allowed, struct client_options *o)
{
	if (strcmp(a, "--json") == 0 && allows(allowed, 'j'))
		o->json = true;
	else if (strcmp(a, "--force") == 0 && allows(allowed, 'f'))
		o->force = true;
	else if (strcmp(a, "--no-wait") == 0 && allows(allowed, 'w'))
		o->no_wait = true;
	else if ((strcmp(a, "-f") == 0 || strcmp(a, "--follow") == 0) && allows(allowed, 'F'))
		o->follow = true;
	else if (strcmp(a, "--kexec") == 0 && allows(allowed, 'k'))
		o->kexec = true;
	else if (strcmp(a, "--default") == 0 && allows(allowed, 'd'))
		o->as_default = true;
	else if (strncmp(a, "--run=", 6) == 0)
		o->run_dir = a + 6;
	else
		return false;
	return true;
}

int client_options(int argc, char **argv, const char *allowed, int least, int most,
		   const char *usage, struct client_options *o)
{
	const char *run = getenv("SUPERVISOR_RUN");

	*o = (struct client_options){.run_dir = run && *run ? run : "/run/supervisor", .lines = -1};
	for (int i = 1; i < argc; i++) {
		const char *a = argv[i];
		if (strcmp(a, "--help") == 0 || strcmp(a, "-h") == 0) {
			printf("usage: supervisor %s\n", usage);
			exit(EXIT_FINE);
		}
		if (take_flag(a, allowed, o))
			continue;
		if (strcmp(a, "-n") == 0 && allows(allowed, 'n')) {
			char *rest = NULL;
			if (++i < argc)
				o->lines = strtol(argv[i], &rest, 10);
			if (i == argc || *rest || rest == argv[i] || o->lines < 0)
				return usage_error(usage, "-n wants a number of lines", NULL);
			continue;
		}
		if (a[0] == '-' && a[1])
			return usage_error(usage, "unknown option", a);
		if (o->arguments == most || o->arguments == 4)
			return usage_error(usage, "one argument too many:", a);
		o->argument[o->arguments++] = a;
	}
	if (o->arguments < least)
		return usage_error(usage, "an argument is missing", NULL);
	return 0;
}

static int connect_to(const struct client_options *options)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0) {
		log_warn("socket");
		return -1;
	}
	int n = snprintf(address.sun_path, sizeof(address.sun_path), "%s/control",
			 options->run_dir);
	if (n < 0 || (size_t)n >= sizeof(address.sun_path)) {
		log_warnx("%s: too long for a socket's directory", options->run_dir);
		close(fd);
		return -1;
	}
	/* connect(2) waits while too many others do; this ends it, and a send(2). */
	struct timeval limit = {.tv_sec = ANSWER_SECONDS};
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		if (errno == ENOENT || errno == ECONNREFUSED)
			log_warnx("no supervisor runs here: %s: %s", address.sun_path,
				  strerror(errno));
		else
			log_warn("connect to %s", address.sun_path);
		close(fd);
		return -1;
	}
	return fd;
}

/* The answer may take any time. */
static bool waits(const struct control_request *request)
{
	return request->verb == CONTROL_WATCH ||
	       ((request->verb == CONTROL_START || request->verb == CONTROL_STOP ||
		 request->verb == CONTROL_RESTART || request->verb == CONTROL_RELOAD ||
		 request->verb == CONTROL_SCALE) &&
		!(request->flags & CONTROL_NO_WAIT));
}

static int ask(int fd, struct control_request *request)
{
	struct timeval limit = {.tv_sec = ANSWER_SECONDS};

	request->magic = CONTROL_MAGIC;
	if (!waits(request))
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (send(fd, request, sizeof(*request), MSG_NOSIGNAL) == (ssize_t)sizeof(*request))
		return 0;
	return -1;
}

/* Of too many clients at once it drops those that have not said yet what they want. Of their
 * request nothing was read: it can be made again, whatever it is. */
static bool has_made_room(int error)
{
	return error == EPIPE || error == ECONNRESET;
}

/* One whole record. */
static int receive(int fd, struct control_record *record)
{
	ssize_t n;

	do
		n = recv(fd, record, sizeof(*record), 0);
	while (n < 0 && errno == EINTR);
	if (n == (ssize_t)sizeof(*record) && record->magic == CONTROL_MAGIC)
		return 0;
	if (n >= 0)
		errno = 0;
	return -1;
}

static void say_why(int error, bool asked)
{
	errno = error;
	if (!asked)
		log_warn("ask the supervisor");
	else if (error == EAGAIN)
		log_warnx("the supervisor does not answer");
	else
		log_warnx("the supervisor hung up before its answer was complete");
}

/* Asks, and gets the first record of the answer. Returns the connection, -1 with a message. */
static int open_call(const struct client_options *options, struct control_request *request,
		     struct control_record *record)
{
	for (int tries = 1;; tries++) {
		int fd = connect_to(options);
		if (fd < 0)
			return -1;
		bool asked = ask(fd, request) == 0;
		if (asked && receive(fd, record) == 0)
			return fd;
		int error = errno;
		close(fd);
		if (has_made_room(error) && tries < TRIES)
			continue;
		say_why(error, asked);
		return -1;
	}
}

int client_call(const struct client_options *options, struct control_request *request,
		void (*each)(void *owner, const struct control_record *record), void *owner,
		char *said, size_t said_bytes)
{
	struct control_record record;
	int fd = open_call(options, request, &record), rc = 0;

	if (fd < 0)
		return EXIT_NO;
	while (record.type != CONTROL_END && rc == 0) {
		if (each)
			each(owner, &record);
		rc = receive(fd, &record);
	}
	if (rc < 0)
		say_why(errno, true);
	close(fd);
	if (rc < 0)
		return EXIT_NO;
	record.end.text[sizeof(record.end.text) - 1] = '\0';
	if (record.end.code && record.end.text[0])
		log_warnx("%s", record.end.text);
	if (said)
		snprintf(said, said_bytes, "%s", record.end.text);
	return record.end.code;
}

const char *client_duration(uint64_t ms, char *text, size_t bytes)
{
	unsigned long long s = ms / 1000;

	if (s < 60)
		snprintf(text, bytes, "%llu.%llus", s, (unsigned long long)(ms % 1000 / 100));
	else if (s < 3600)
		snprintf(text, bytes, "%llum%llus", s / 60, s % 60);
	else if (s < 86400)
		snprintf(text, bytes, "%lluh%llum", s / 3600, s % 3600 / 60);
	else
		snprintf(text, bytes, "%llud%lluh", s / 86400, s % 86400 / 3600);
	return text;
}

static bool colours(void)
{
	const char *no = getenv("NO_COLOR");

	return isatty(STDOUT_FILENO) && !(no && *no);
}

const char *client_colour(const char *state)
{
	static const char *const good[] = {"ready", "alive"}, *const bad[] = {"failed", "backoff",
									      "dead",	"revoked",
									      "twins",	"clones"};

	if (!colours())
		return "";
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (strcmp(state, good[i]) == 0)
			return "\033[32m";
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (strcmp(state, bad[i]) == 0)
			return "\033[31m";
	return "\033[33m";
}

const char *client_colour_end(void)
{
	return colours() ? "\033[0m" : "";
}
