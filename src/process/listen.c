#include "src/process/listen.h"

#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 511 /* the kernel cuts it to net.core.somaxconn */

/* A socket file that nobody serves any more would make bind fail; anything else there is not ours
 * to remove. */
static int remove_stale(const char *path)
{
	struct stat st;
	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : -1;
	if (!S_ISSOCK(st.st_mode)) {
		errno = EEXIST;
		return -1;
	}
	return unlink(path);
}

static int set(int fd, int level, int option)
{
	int on = 1;
	return setsockopt(fd, level, option, &on, sizeof(on));
}

static int set_options(int fd, const struct listen_def *def)
{
	/* A restart of ours finds connections in TIME_WAIT. Not for datagrams: there it would let
	 * another process share the port. */
	if (def->socket_type == SOCK_STREAM && set(fd, SOL_SOCKET, SO_REUSEADDR) < 0)
		return -1;
	if (def->address.ss_family == AF_INET6)
		return set(fd, IPPROTO_IPV6, IPV6_V6ONLY) < 0
			       ? -1
			       : set(fd, IPPROTO_IPV6, IPV6_FREEBIND);
	return set(fd, IPPROTO_IP, IP_FREEBIND);
}

/*
 * A packet filter on the listening socket itself: a stranger's SYN is dropped as if nobody were
 * there. The accepted sockets inherit it. Locked, since the service owns the socket as well and
 * could take the filter off again. The source address stands at offset 12 of the IPv4 header (RFC
 * 791).
 */
static int admit(int fd, const struct service_def *owner)
{
	struct sock_filter code[LISTEN_FROM_MAX + 3];
	size_t count = owner->listen_from_count, used = 0;
	if (count == 0)
		return 0;
	code[used++] =
		(struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)SKF_NET_OFF + 12);
	for (size_t i = 0; i < count; i++)
		code[used++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
							    ntohl(owner->listen_from[i].s_addr),
							    (uint8_t)(count - i), 0);
	code[used++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 0);
	code[used++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, UINT32_MAX);
	struct sock_fprog program = {.len = (unsigned short)used, .filter = code};
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0)
		return -1;
	return set(fd, SOL_SOCKET, SO_LOCK_FILTER);
}

static int bind_path(int fd, const struct listen_def *def, const struct service_def *owner)
{
	const struct sockaddr_un *address = (const struct sockaddr_un *)&def->address;
	const char *path = address->sun_path;
	if (remove_stale(path) < 0)
		return -1;
	/* bind(2) makes the file with what the umask leaves of 0777: no moment with more rights
	 * than 0660. */
	mode_t mask = umask(0117);
	int result = bind(fd, (const struct sockaddr *)address, def->address_length);
	int error = errno;
	umask(mask);
	errno = error;
	if (result == 0 && owner->has_user)
		result = lchown(path, owner->uid, owner->gid);
	return result;
}

static int open_socket(const struct listen_def *def, const struct service_def *owner)
{
	int family = def->address.ss_family;
	int fd = socket(family, def->socket_type | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	int result;
	if (family == AF_UNIX)
		result = bind_path(fd, def, owner);
	else if (set_options(fd, def) < 0 || admit(fd, owner) < 0)
		result = -1;
	else
		result = bind(fd, (const struct sockaddr *)&def->address, def->address_length);
	if (result == 0 && def->socket_type != SOCK_DGRAM)
		result = listen(fd, BACKLOG);
	if (result == 0)
		return fd;
	int error = errno;
	close(fd);
	errno = error;
	return -1;
}

int listen_get(struct listen_table *table, const struct listen_def *def,
	       const struct service_def *owner)
{
	for (size_t i = 0; i < table->count; i++) {
		if (strcmp(table->socket[i].text, def->text) == 0) {
			table->socket[i].used = true;
			return table->socket[i].fd;
		}
	}
	size_t length = strlen(def->text);
	if (length >= LISTEN_TEXT_BYTES) {
		errno = ENAMETOOLONG;
		return -1;
	}
	if (table->count == LISTEN_SOCKETS_MAX) {
		errno = ENFILE;
		return -1;
	}
	int fd = open_socket(def, owner);
	if (fd < 0)
		return -1;
	size_t new = table->count++;
	memcpy(table->socket[new].text, def->text, length + 1);
	table->socket[new].fd = fd;
	table->socket[new].used = true;
	return fd;
}

int listen_close(struct listen_table *table, const struct listen_def *def)
{
	for (size_t i = 0; i < table->count; i++) {
		if (strcmp(table->socket[i].text, def->text) != 0)
			continue;
		close(table->socket[i].fd);
		table->socket[i] = table->socket[--table->count];
		return 0;
	}
	errno = ENOENT;
	return -1;
}

void listen_begin(struct listen_table *table)
{
	for (size_t i = 0; i < table->count; i++)
		table->socket[i].used = false;
}

void listen_keep(struct listen_table *table, const struct listen_def *def)
{
	for (size_t i = 0; i < table->count; i++)
		if (strcmp(table->socket[i].text, def->text) == 0)
			table->socket[i].used = true;
}

void listen_end(struct listen_table *table)
{
	size_t kept = 0;
	for (size_t i = 0; i < table->count; i++) {
		if (table->socket[i].used)
			table->socket[kept++] = table->socket[i];
		else
			close(table->socket[i].fd);
	}
	table->count = kept;
}
