/*
 * supervisor fcgi ADDRESS:PORT SCRIPT [QUERY]: asks one PHP node directly, past the web servers.
 * What the script sends is printed as it comes, CGI header first. Source: FastCGI
 * Specification 1.0, sections 5 and 6; its records: src/base/fastcgi.h.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "src/base/fastcgi.h"
#include "src/base/log.h"
#include "src/base/socket.h"
#include "src/control/client.h"
#include "src/control/commands.h"

#define USAGE "fcgi ADDRESS:PORT SCRIPT [QUERY]"

enum { REQUEST_ID = 1, PARAMS_MAX = 8192, CONNECT_S = 5 };

struct params {
	uint8_t bytes[PARAMS_MAX];
	size_t used;
	bool full;
};

struct answer {
	char status[8]; /* what the script's header says after "Status:"; "": nothing, which means
			   200 */
	char line[64];	/* the header's line so far */
	size_t line_used;
	bool in_body;
};

static int refuse(const char *what, const char *found)
{
	fprintf(stderr, "supervisor: %s \"%s\"\nusage: supervisor " USAGE "\n", what, found);
	return EXIT_USAGE;
}

static bool parse_target(const char *text, struct sockaddr_in *target)
{
	char host[INET_ADDRSTRLEN];
	const char *colon = strrchr(text, ':');
	char *rest;

	if (!colon || (size_t)(colon - text) >= sizeof(host) || colon[1] < '0' || colon[1] > '9')
		return false;
	memcpy(host, text, (size_t)(colon - text));
	host[colon - text] = '\0';
	unsigned long port = strtoul(colon + 1, &rest, 10);
	*target = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	return *rest == '\0' && port > 0 && port <= UINT16_MAX &&
	       inet_pton(AF_INET, host, &target->sin_addr) == 1;
}

static void put_param(struct params *params, const char *name, const char *value)
{
	if (!fastcgi_put_pair(params->bytes, sizeof(params->bytes), &params->used, name, value))
		params->full = true;
}

static bool send_record(int fd, uint8_t type, const void *content, size_t bytes)
{
	uint8_t header[FCGI_HEADER_BYTES];

	fastcgi_put_header(header, &(struct fastcgi_record){.type = type,
							    .request = REQUEST_ID,
							    .content_bytes = (uint16_t)bytes});
	return socket_send_all(fd, header, sizeof(header)) && socket_send_all(fd, content, bytes);
}

/* A path "/srv/site/page.php" runs as "/page.php" would: PHP needs no more than the file's own
 * name. */
static bool send_request(int fd, const char *script, const char *query)
{
	static struct params params;
	const uint8_t begin[FCGI_BODY_BYTES] = {0, FCGI_RESPONDER};
	char uri[PARAMS_MAX / 2];
	const char *name = strrchr(script, '/');

	snprintf(uri, sizeof(uri), "%s%s%s", name, *query ? "?" : "", query);
	put_param(&params, "GATEWAY_INTERFACE", "CGI/1.1");
	put_param(&params, "SERVER_PROTOCOL", "HTTP/1.1");
	put_param(&params, "SERVER_SOFTWARE", "supervisor");
	put_param(&params, "REQUEST_METHOD", "GET");
	put_param(&params, "SCRIPT_FILENAME", script);
	put_param(&params, "SCRIPT_NAME", name);
	put_param(&params, "REQUEST_URI", uri);
	put_param(&params, "QUERY_STRING", query);
	if (params.full) {
		errno = E2BIG;
		return false;
	}
	return send_record(fd, FCGI_BEGIN_REQUEST, begin, sizeof(begin)) &&
	       send_record(fd, FCGI_PARAMS, params.bytes, params.used) &&
	       send_record(fd, FCGI_PARAMS, NULL, 0) && send_record(fd, FCGI_STDIN, NULL, 0);
}

/* The status is wanted for the exit code; the bytes themselves are passed on as they are. */
static void note_status(struct answer *answer, const uint8_t *bytes, size_t count)
{
	for (size_t i = 0; i < count && !answer->in_body; i++) {
		if (bytes[i] == '\r')
			continue;
		if (bytes[i] != '\n') {
			if (answer->line_used < sizeof(answer->line) - 1)
				answer->line[answer->line_used++] = (char)bytes[i];
			continue;
		}
		answer->line[answer->line_used] = '\0';
		answer->in_body = answer->line_used == 0;
		answer->line_used = 0;
		if (strncasecmp(answer->line, "Status:", 7) == 0)
			snprintf(answer->status, sizeof(answer->status), "%.3s",
				 answer->line + 7 + strspn(answer->line + 7, " "));
	}
}

static int receive_answer(int fd, const char *target)
{
	static uint8_t content[FCGI_REST_MAX];
	struct answer answer = {.status = ""};

	for (;;) {
		uint8_t header[FCGI_HEADER_BYTES] = {0};
		struct fastcgi_record record;
		int rc = socket_receive_all(fd, header, sizeof(header));
		if (rc > 0 && !fastcgi_get_header(header, &record)) {
			log_warnx("%s: expected FastCGI version 1, found %u", target, header[0]);
			return EXIT_NO;
		}
		if (rc > 0)
			rc = socket_receive_all(
				fd, content, (size_t)record.content_bytes + record.padding_bytes);
		if (rc <= 0) {
			log_warnx("%s: %s", target,
				  rc < 0 ? strerror(errno)
					 : "hung up before its answer was complete");
			return EXIT_NO;
		}
		if (record.type == FCGI_STDOUT) {
			note_status(&answer, content, record.content_bytes);
			fwrite(content, 1, record.content_bytes, stdout);
		} else if (record.type == FCGI_STDERR) {
			fwrite(content, 1, record.content_bytes, stderr);
		} else if (record.type == FCGI_END_REQUEST) {
			if (record.content_bytes >= FCGI_BODY_BYTES &&
			    content[4] == FCGI_REQUEST_COMPLETE)
				break;
			log_warnx("%s: the request was refused", target);
			return EXIT_NO;
		}
	}
	if (fflush(stdout) != 0 || ferror(stdout)) {
		log_warn("fcgi: writing the answer");
		return EXIT_NO;
	}
	return answer.status[0] && answer.status[0] != '2' && answer.status[0] != '3' ? EXIT_NO
										      : EXIT_FINE;
}

int cmd_fcgi(int argc, char **argv)
{
	struct client_options options;
	struct sockaddr_in address;
	const struct timeval patience = {.tv_sec = CONNECT_S};

	if (client_options(argc, argv, "", 2, 3, USAGE, &options) < 0)
		return EXIT_USAGE;
	const char *target = options.argument[0], *script = options.argument[1];
	if (!parse_target(target, &address))
		return refuse("expected an IPv4 address and a port, found", target);
	if (script[0] != '/')
		return refuse("expected the script's absolute path, found", script);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		log_warn("socket");
		return EXIT_NO;
	}
	/* Also the deadline of connect(2). A script may take as long as it likes. */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0)
		log_warn("SO_SNDTIMEO");
	int code = EXIT_NO;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		/* EINPROGRESS is how connect(2) reports that SO_SNDTIMEO has passed. */
		log_warnx("connect to %s: %s", target,
			  strerror(errno == EINPROGRESS ? ETIMEDOUT : errno));
	} else if (!send_request(fd, script, options.arguments > 2 ? options.argument[2] : "")) {
		log_warn("ask %s", target);
	} else {
		code = receive_answer(fd, target);
	}
	close(fd);
	return code;
}
