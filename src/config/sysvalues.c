/* Values whose names are the system's: signals, capabilities, limits, sockets, users, groups. */
#include "src/config/values.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/un.h>

#include "src/config/file.h"

struct named {
	const char *name;
	int value;
};

static const struct named *find_named(const struct named *table, const char *name)
{
	for (; table->name; table++) {
		if (strcmp(table->name, name) == 0)
			return table;
	}
	return NULL;
}

bool value_signal(const struct place *place, const char *text, int *out)
{
	static const struct named signals[] = {
		{"HUP", SIGHUP},   {"INT", SIGINT},	{"QUIT", SIGQUIT}, {"TERM", SIGTERM},
		{"KILL", SIGKILL}, {"USR1", SIGUSR1},	{"USR2", SIGUSR2}, {"PWR", SIGPWR},
		{"CONT", SIGCONT}, {"WINCH", SIGWINCH}, {NULL, 0},
	};
	const struct named *found = find_named(signals, text);
	if (!found)
		return place_expected(place, text,
				      "HUP, INT, QUIT, TERM, KILL, USR1, USR2, PWR, CONT or WINCH");
	*out = found->value;
	return true;
}

bool value_capability(const struct place *place, const char *text, int *out)
{
	char name[64];
	cap_value_t capability;
	bool plain = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(text);
	int length = snprintf(name, sizeof(name), "cap_%s", text);
	if (!plain || length < 0 || (size_t)length >= sizeof(name) ||
	    cap_from_name(name, &capability) < 0)
		return place_expected(place, text, "a capability such as net_admin");
	*out = capability;
	return true;
}

static bool limit_value(const struct place *place, const char *text, rlim_t *out)
{
	if (strcmp(text, "unlimited") == 0) {
		*out = RLIM_INFINITY;
		return true;
	}
	uint64_t value;
	if (!value_size(place, text, &value))
		return false;
	*out = (rlim_t)value;
	return true;
}

bool value_limit(const struct place *place, const char *resource, const struct words *words,
		 struct limit_def *out)
{
	static const struct named limits[] = {
		{"as", RLIMIT_AS},
		{"core", RLIMIT_CORE},
		{"cpu", RLIMIT_CPU},
		{"data", RLIMIT_DATA},
		{"fsize", RLIMIT_FSIZE},
		{"memlock", RLIMIT_MEMLOCK},
		{"msgqueue", RLIMIT_MSGQUEUE},
		{"nice", RLIMIT_NICE},
		{"nofile", RLIMIT_NOFILE},
		{"nproc", RLIMIT_NPROC},
		{"rtprio", RLIMIT_RTPRIO},
		{"rttime", RLIMIT_RTTIME},
		{"sigpending", RLIMIT_SIGPENDING},
		{"stack", RLIMIT_STACK},
		{NULL, 0},
	};
	const struct named *found = find_named(limits, resource);
	struct limit_def limit = {0};
	if (!found)
		return place_wrong(place, "unknown limit, expected limit- and the name of a "
					  "resource of getrlimit(2)");
	if (words->count < 1 || words->count > 2)
		return place_wrong(place,
				   "found %zu words, expected one limit, or a soft and a hard one",
				   words->count);
	limit.resource = found->value;
	limit.name = found->name;
	if (!limit_value(place, words->word[0], &limit.value.rlim_cur) ||
	    !limit_value(place, words->word[words->count - 1], &limit.value.rlim_max))
		return false;
	if (limit.value.rlim_cur > limit.value.rlim_max)
		return place_expected(place, words->word[0], "a soft limit up to the hard one, %s",
				      words->word[1]);
	*out = limit;
	return true;
}

/* "ADDRESS:PORT", "[ADDRESS]:PORT". */
static bool internet(const char *text, struct listen_def *out)
{
	char host[INET6_ADDRSTRLEN];
	const char *colon = strrchr(text, ':');
	bool six = text[0] == '[';
	size_t length = colon ? (size_t)(colon - text) : 0;
	if (length == 0 || length - (six ? 2u : 0u) >= sizeof(host) ||
	    (six && (length < 3 || text[length - 1] != ']')))
		return false;
	memcpy(host, text + six, length - (six ? 2 : 0));
	host[length - (six ? 2 : 0)] = 0;

	int64_t port;
	if (!number_in(colon + 1, 1, 65535, &port))
		return false;
	if (six) {
		struct sockaddr_in6 *address = (struct sockaddr_in6 *)&out->address;
		address->sin6_family = AF_INET6;
		address->sin6_port = htons((uint16_t)port);
		out->address_length = sizeof(*address);
		return inet_pton(AF_INET6, host, &address->sin6_addr) == 1;
	}
	struct sockaddr_in *address = (struct sockaddr_in *)&out->address;
	address->sin_family = AF_INET;
	address->sin_port = htons((uint16_t)port);
	out->address_length = sizeof(*address);
	return inet_pton(AF_INET, host, &address->sin_addr) == 1;
}

bool value_socket(struct arena *arena, const struct place *place, const char *kind,
		  const char *address, struct listen_def *out)
{
	struct listen_def def = {.socket_type =
					 strcmp(kind, "udp") == 0 ? SOCK_DGRAM : SOCK_STREAM};
	if (strcmp(kind, "unix") == 0) {
		struct sockaddr_un *path = (struct sockaddr_un *)&def.address;
		size_t length = strlen(address);
		if (!value_local_path(place, address))
			return false;
		if (length >= sizeof(path->sun_path))
			return place_expected(place, address, "a path below %zu bytes",
					      sizeof(path->sun_path));
		path->sun_family = AF_UNIX;
		memcpy(path->sun_path, address, length + 1);
		def.address_length =
			(socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
	} else if (strcmp(kind, "tcp") != 0 && strcmp(kind, "udp") != 0) {
		return place_expected(place, kind, "tcp, udp or unix");
	} else if (!internet(address, &def)) {
		return place_expected(place, address, "ADDRESS:PORT such as 0.0.0.0:80 or [::]:80");
	}
	def.text = arena_printf(arena, "%s %s", kind, address);
	if (!def.text)
		return place_wrong(place, "out of memory");
	*out = def;
	return true;
}

void accounts_read(struct accounts *accounts, struct arena *arena, const char *directory)
{
	*accounts = (struct accounts){0};
	struct file_text file;
	const char *passwd = arena_printf(arena, "%s/passwd", directory);
	const char *group = arena_printf(arena, "%s/group", directory);
	if (passwd && file_read(arena, passwd, &file) == 0)
		accounts->passwd = file.text;
	if (group && file_read(arena, group, &file) == 0)
		accounts->group = file.text;
}

/* Field `index` of the line at `line`, fields parted by ':'; *length without what parts them. NULL:
 * no such field. */
static const char *field(const char *line, unsigned index, size_t *length)
{
	for (;; line++) {
		*length = strcspn(line, ":\n");
		if (index-- == 0)
			return line;
		line += *length;
		if (*line != ':')
			return NULL;
	}
}

static bool field_number(const char *line, unsigned index, uint32_t *out)
{
	size_t length;
	const char *text = field(line, index, &length);
	uint64_t value = 0;
	if (!text || length == 0 || length > 10)
		return false;
	for (size_t i = 0; i < length; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		value = value * 10 + (uint64_t)(text[i] - '0');
	}
	/* All ones means "no id" to the kernel. */
	if (value >= UINT32_MAX)
		return false;
	*out = (uint32_t)value;
	return true;
}

/* The line of passwd or group whose name (by_number: whose id) is `text`. */
static const char *find_account(const char *file, const char *text, bool by_number, uint32_t number)
{
	for (const char *line = file; line && *line;) {
		size_t length;
		uint32_t id;
		const char *name = field(line, 0, &length);
		if (by_number ? field_number(line, 2, &id) && id == number
			      : name && strlen(text) == length && memcmp(name, text, length) == 0)
			return line;
		const char *newline = strchr(line, '\n');
		line = newline ? newline + 1 : NULL;
	}
	return NULL;
}

/* Whether text is a number, which then must be an id. */
static bool numeric(const char *text, uint32_t *id)
{
	return text[0] && strspn(text, "0123456789") == strlen(text) && field_number(text, 0, id);
}

bool value_user(const struct place *place, const struct accounts *accounts, const char *text,
		uid_t *uid, gid_t *gid)
{
	uint32_t user = 0, group = 0;
	bool number = numeric(text, &user);
	const char *line = find_account(accounts->passwd, text, number, user);
	if (number && !line) {
		*uid = user;
		*gid = user;
		return true;
	}
	if (!line || !field_number(line, 2, &user) || !field_number(line, 3, &group))
		return place_expected(place, text, "a user of /etc/passwd, or a number");
	*uid = user;
	*gid = group;
	return true;
}

bool value_group(const struct place *place, const struct accounts *accounts, const char *text,
		 gid_t *gid)
{
	uint32_t group = 0;
	if (!numeric(text, &group)) {
		const char *line = find_account(accounts->group, text, false, 0);
		if (!line || !field_number(line, 2, &group))
			return place_expected(place, text, "a group of /etc/group, or a number");
	}
	*gid = group;
	return true;
}
