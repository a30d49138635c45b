/*
 *   supervisor worker check [--until-ready] tcp ADDRESS:PORT | unix PATH
 *                                         | http ADDRESS:PORT /PATH [HOST]
 *                                         | fcgi ADDRESS:PORT | fcgi-unix PATH
 *
 * Asks one server whether it is well. Exit 0: yes, 1: no; one line on stderr says what was found.
 * It knows no deadline: who runs it ends it, and this process with it (so it waits in plain
 * blocking calls). With --until-ready it asks again until the answer is yes: when a connect(2) will
 * succeed is no event of the kernel's, and it is this process that waits for it, not the
 * supervising one.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "services/check/http.h"
#include "src/base/fastcgi.h"
#include "src/base/socket.h"
#include "src/config/values.h"
#include "src/worker/worker.h"

#define USAGE                                                                           \
	"usage: supervisor worker check [--until-ready] tcp ADDRESS:PORT | unix PATH |" \
	" http ADDRESS:PORT /PATH [HOST] | fcgi ADDRESS:PORT | fcgi-unix PATH\n"

/* Between two tries of --until-ready, doubled each time; a connect(2) that is not even refused ends
 * after one second. */
enum { AGAIN_MS = 20, AGAIN_MAX_MS = 500, CONNECT_S = 1 };
enum { TEXT_BYTES = 512, HTTP_REQUEST_BYTES = 4096 };

struct check;

struct kind {
	const char *name, *socket; /* its socket as value_socket() calls it */
	int words, words_max;	   /* after the kind's name */
	bool (*ask)(struct check *check, int fd);
};

struct check {
	const struct kind *kind;
	struct listen_def target;
	const char *shown;	 /* "127.0.0.1:80", "/run/x" */
	const char *path, *host; /* http */
	bool until_ready;
	char text[TEXT_BYTES]; /* what was found */
};

static bool found(struct check *check, bool well, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Returns `well`, so that a check can end with it. */
static bool found(struct check *check, bool well, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(check->text, sizeof(check->text), fmt, ap);
	va_end(ap);
	return well;
}

static bool failed(struct check *check, const char *what)
{
	return found(check, false, "%s %s: %s: %s", check->kind->name, check->shown, what,
		     strerror(errno));
}

static bool ask_nothing(struct check *check, int fd)
{
	(void)fd;
	return found(check, true, "%s %s accepts", check->kind->name, check->shown);
}

/* Bytes that somebody else sent, so that a terminal can show them. */
static void printable(const char *bytes, size_t count, char *text, size_t text_bytes)
{
	size_t i;

	for (i = 0; i < count && i + 1 < text_bytes; i++)
		text[i] = bytes[i] >= ' ' && bytes[i] < 127 ? bytes[i] : '?';
	text[i] = '\0';
}

static bool ask_http(struct check *check, int fd)
{
	char request[HTTP_REQUEST_BYTES], answer[HTTP_HEADER_MAX], shown[32];
	unsigned status = 0;

	int length = snprintf(request, sizeof(request),
			      "GET %s HTTP/1.0\r\nHost: %s\r\nUser-Agent: supervisor\r\n"
			      "Connection: close\r\n\r\n",
			      check->path, check->host ? check->host : check->shown);
	if (length < 0 || (size_t)length >= sizeof(request)) {
		errno = E2BIG;
		return failed(check, "ask");
	}
	if (!socket_send_all(fd, request, (size_t)length))
		return failed(check, "ask");
	for (size_t used = 0;;) {
		ssize_t n = socket_receive(fd, answer + used, sizeof(answer) - used);
		if (n < 0)
			return failed(check, "receive");
		if (n == 0)
			return found(check, false, "http %s: hung up after %zu bytes of an answer",
				     check->shown, used);
		used += (size_t)n;
		enum http_found result = http_answer(answer, used, &status);
		if (result == HTTP_COMPLETE)
			return found(check, status >= 200 && status < 400, "HTTP %u from %s%s",
				     status, check->shown, check->path);
		if (result == HTTP_WRONG || used == sizeof(answer)) {
			printable(answer, used, shown, sizeof(shown));
			return found(check, false, "http %s: answers no HTTP: \"%s…\"",
				     check->shown, shown);
		}
	}
}

/* What socket_receive_all() has returned. */
static bool cut_short(struct check *check, int rc)
{
	if (rc < 0)
		return failed(check, "receive");
	return found(check, false, "%s %s: hung up before its answer was complete",
		     check->kind->name, check->shown);
}

/* Content of FCGI_GET_VALUES_RESULT: whatever it says of which variables, it must be pairs. */
static bool is_pairs(const uint8_t *content, size_t bytes)
{
	struct fastcgi_pair pair;
	size_t at = 0;

	while (fastcgi_get_pair(content, bytes, &at, &pair))
		;
	return at == bytes;
}

/* A management record, which a FastCGI application answers itself, without running a script. */
static bool ask_fastcgi(struct check *check, int fd)
{
	static uint8_t content[FCGI_REST_MAX];
	uint8_t header[FCGI_HEADER_BYTES], request[64];
	char shown[sizeof(header) + 1];
	struct fastcgi_record record = {.type = FCGI_GET_VALUES};
	size_t used = FCGI_HEADER_BYTES;

	fastcgi_put_pair(request, sizeof(request), &used, "FCGI_MAX_CONNS", "");
	record.content_bytes = (uint16_t)(used - FCGI_HEADER_BYTES);
	fastcgi_put_header(request, &record);
	if (!socket_send_all(fd, request, used))
		return failed(check, "ask");
	int rc = socket_receive_all(fd, header, sizeof(header));
	if (rc <= 0)
		return cut_short(check, rc);
	if (!fastcgi_get_header(header, &record)) {
		printable((const char *)header, sizeof(header), shown, sizeof(shown));
		return found(check, false, "%s %s: answers no FastCGI: \"%s…\"", check->kind->name,
			     check->shown, shown);
	}
	if (record.request != 0 ||
	    (record.type != FCGI_GET_VALUES_RESULT && record.type != FCGI_UNKNOWN_TYPE))
		return found(check, false, "%s %s: answers with a record of type %u, request %u",
			     check->kind->name, check->shown, record.type, record.request);
	rc = socket_receive_all(fd, content, (size_t)record.content_bytes + record.padding_bytes);
	if (rc <= 0)
		return cut_short(check, rc);
	if (record.type == FCGI_GET_VALUES_RESULT && !is_pairs(content, record.content_bytes))
		return found(check, false, "%s %s: its answer holds no name-value pairs",
			     check->kind->name, check->shown);
	return found(check, true, "FastCGI from %s", check->shown);
}

/* A connected socket; -1 with errno. A server at a path may have any type of socket. */
static int connect_to(const struct check *check)
{
	static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM};
	const struct timeval patience = {.tv_sec = CONNECT_S};
	const struct listen_def *target = &check->target;

	for (size_t i = 0;; i++) {
		int fd = socket(target->address.ss_family, types[i] | SOCK_CLOEXEC, 0);
		if (fd < 0)
			return -1;
		/* Bounds connect(2), which then says EINPROGRESS. */
		if (check->until_ready)
			setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
		int rc;
		do
			rc = connect(fd, (const struct sockaddr *)&target->address,
				     target->address_length);
		while (rc < 0 && errno == EINTR);
		if (rc == 0)
			return fd;
		int saved = errno == EINPROGRESS ? ETIMEDOUT : errno;
		close(fd);
		errno = saved;
		if (saved != EPROTOTYPE || check->kind->ask != ask_nothing ||
		    i + 1 == sizeof(types) / sizeof(types[0]))
			return -1;
	}
}

static bool ask_once(struct check *check)
{
	int fd = connect_to(check);

	if (fd < 0)
		return failed(check, "connect");
	bool well = check->kind->ask(check, fd);
	close(fd);
	return well;
}

static void say(const char *text)
{
	dprintf(STDERR_FILENO, "%s\n", text);
}

static void wait_ms(long ms)
{
	struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}

/* Says what is in the way, and again only when that changes. */
static void ask_until_ready(struct check *check)
{
	char said[TEXT_BYTES] = "";

	for (long again_ms = AGAIN_MS; !ask_once(check);) {
		if (strcmp(said, check->text) != 0)
			say(check->text);
		memcpy(said, check->text, sizeof(said));
		wait_ms(again_ms);
		again_ms = again_ms * 2 < AGAIN_MAX_MS ? again_ms * 2 : AGAIN_MAX_MS;
	}
}

/* What would be a second line in a request, or a word too many. */
static bool goes_into_a_header(const char *text)
{
	for (const char *c = text; *c; c++)
		if (*c <= ' ' || *c == 127)
			return false;
	return *text != '\0';
}

static const struct kind kinds[] = {
	{"tcp", "tcp", 1, 1, ask_nothing},	  {"unix", "unix", 1, 1, ask_nothing},
	{"http", "tcp", 2, 3, ask_http},	  {"fcgi", "tcp", 1, 1, ask_fastcgi},
	{"fcgi-unix", "unix", 1, 1, ask_fastcgi},
};

/* False after having said what is wrong. */
static bool read_arguments(int argc, char **argv, struct check *check)
{
	static struct config_report report;
	static struct arena arena;
	int at = 1;

	if (at < argc && strcmp(argv[at], "--until-ready") == 0) {
		check->until_ready = true;
		at++;
	}
	for (size_t i = 0; at < argc && i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(kinds[i].name, argv[at]) == 0)
			check->kind = &kinds[i];
	int words = argc - at - 1;
	if (!check->kind || words < check->kind->words || words > check->kind->words_max) {
		fputs(USAGE, stderr);
		return false;
	}
	const struct place place = {&report, "check", 0, check->kind->name};
	check->shown = argv[at + 1];
	if (!value_socket(&arena, &place, check->kind->socket, check->shown, &check->target)) {
		say(report.finding[0]);
		return false;
	}
	check->path = words > 1 ? argv[at + 2] : NULL;
	check->host = words > 2 ? argv[at + 3] : NULL;
	if (check->path && (check->path[0] != '/' || !goes_into_a_header(check->path))) {
		say("check: http: expected a path that begins with / and has no blanks");
		return false;
	}
	if (check->host && !goes_into_a_header(check->host)) {
		say("check: http: expected a host's name without blanks");
		return false;
	}
	return true;
}

int check_worker(int argc, char **argv)
{
	static struct check check;

	if (!read_arguments(argc, argv, &check))
		return 2;
	bool well = true;
	if (check.until_ready)
		ask_until_ready(&check);
	else
		well = ask_once(&check);
	say(check.text);
	return well ? 0 : 1;
}
