/*
 * The front door: one executable, four parts. Which of them this process is going to play stands
 * in its arguments:
 *
 *   supervisor --profile=NAME …   supervises: PID 1 of a machine or container, or a subreaper
 *   supervisor worker NAME ARG…   a child of that, which does one thing: mount, serve, gossip, …
 *   supervisor VERB ARG…          the command line
 *
 * and, by the name of a link to it, what DRBD's kernel side calls when it loses its peer
 * (services/drbd/).
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "services/drbd/drbd.h"
#include "src/base/log.h"
#include "src/config/embedded.h"
#include "src/control/commands.h"
#include "src/gossip/gossip.h"
#include "src/log/log_process.h"
#include "src/supervise/main.h"
#include "src/worker/worker.h"

struct part {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
};

static const struct part workers[] = {
	{"address", address_worker, NULL},
	{"agent", agent_worker, NULL},
	{"cachefiles", cachefiles_worker, NULL},
	{"check", check_worker, NULL},
	{"dlm", dlm_worker, NULL},
	{"drbd", drbd_worker, NULL},
	{"gossip", gossip_worker, NULL},
	{"log", log_worker, NULL},
	{"module", module_worker, NULL},
	{"netns", netns_worker, NULL},
	{"network", network_worker, NULL},
	{"nfs-clients", nfs_clients_worker, NULL},
	{"nfsd", nfsd_worker, NULL},
	{"ocfs2", ocfs2_worker, NULL},
	{"share", share_worker, NULL},
	{"share-dirs", share_dirs_worker, NULL},
};

/* `help`: its synopsis, a tab, what it does; NULL: the line of another verb names it. */
static const struct part verbs[] = {
	{"status", cmd_status, "status [NAME] [--json]\tservices of this node and their states"},
	{"members", cmd_members,
	 "members [--stats] [--json]\tnodes of the cluster, seen from here"},
	{"members", cmd_members,
	 "members --watch [--json] [--exec PROGRAM]\twhat happens to them, as it happens"},
	{"start", cmd_start,
	 "start NAME [--force] [--no-wait]\tstart a service and all it requires"},
	{"stop", cmd_stop,
	 "stop NAME [--force] [--no-wait]\tstop a service, by force what needs it too"},
	{"restart", cmd_restart, "restart NAME [--force] [--no-wait]\tstop it, then start it"},
	{"reload", cmd_reload,
	 "reload [NAME] [--no-wait] [--json]\tchange what changed in files; one service"},
	{"scale", cmd_scale,
	 "scale POOL N|--default [--no-wait]\tgive a pool N members until it boots"},
	{"kill", cmd_kill, "kill NAME [SIGNAL]\tsignal all its processes (TERM)"},
	{"log", cmd_log, "log NAME [-f] [-n LINES]\twhat it wrote; -f: and goes on to write"},
	{"poweroff", cmd_poweroff,
	 "poweroff | halt | reboot [--kexec]\tstop all in order, then the machine"},
	{"reboot", cmd_reboot, NULL},
	{"halt", cmd_halt, NULL},
	{"check", cmd_check,
	 "check [--profile=NAME] [--node=NAME] [--accounts=DIR] [DIR]\t"
	 "find what is wrong in a configuration"},
	{"fcgi", cmd_fcgi, "fcgi ADDRESS:PORT SCRIPT [QUERY]\task one PHP node directly"},
	{"keygen", cmd_keygen, "keygen [--json]\tmake a node's pair of keys"},
};

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static const struct part *find(const struct part *table, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(table[i].name, name) == 0)
			return &table[i];
	return NULL;
}

#define HELP_COLUMN 38

static void help_verb(FILE *to, const char *text)
{
	int synopsis = (int)strcspn(text, "\t");

	/* A synopsis that is too long for its column has a line of its own. */
	fprintf(to, "  %-*.*s%s", HELP_COLUMN - 2, synopsis, text,
		synopsis > HELP_COLUMN - 4 ? "\n" : "");
	fprintf(to, "%*s%s\n", synopsis > HELP_COLUMN - 4 ? HELP_COLUMN : 0, "",
		text + synopsis + 1);
}

static int help(FILE *to, int code)
{
	fputs("usage: supervisor --profile=NAME [--node=NAME] [--config=DIR] [--run=DIR]\n"
	      "                  [--emergency-shell=PROGRAM]\n"
	      "       supervisor VERB [ARGUMENT...] [--run=DIR]\n\n"
	      "Init, service supervisor and cluster member in one program. With --profile it\n"
	      "supervises: as PID 1 of a machine or of a container, or as any process. With a\n"
	      "verb it talks to the one that does:\n\n",
	      to);
	for (size_t i = 0; i < COUNT(verbs); i++)
		if (verbs[i].help)
			help_verb(to, verbs[i].help);
	help_verb(to, "version | help\tthis program's version; this text");
	fputs("\nWhich supervisor: --run=DIR, else $SUPERVISOR_RUN, else /run/supervisor.\n"
	      "Exit codes: 0 fine, 1 no, 2 wrong usage; of one that supervises: 0 stopped as\n"
	      "asked, 1 cannot run, 2 wrong usage, 3 stopped by force, 4 halt, 133 reboot,\n"
	      "128 + signal crashed. Manual: supervisor(8).\n",
	      to);
	return code;
}

bool worker_known(const char *name)
{
	return find(workers, COUNT(workers), name);
}

static int run_worker(int argc, char **argv)
{
	const struct part *worker = argc > 2 ? find(workers, COUNT(workers), argv[2]) : NULL;

	if (!worker) {
		log_warnx("no worker called %s", argc > 2 ? argv[2] : "(nothing)");
		return 2;
	}
	log_init(worker->name);
	prctl(PR_SET_NAME, worker->name, 0, 0,
	      0); /* executed by descriptor, it would be called by its number */
	return worker->run(argc - 2, argv + 2);
}

/* An answer that could not be written is none. */
static int written(int code)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return code;
	log_warn("write to stdout");
	return code ? code : 1;
}

static int run_verb(int argc, char **argv)
{
	const struct part *verb = find(verbs, COUNT(verbs), argv[0]);

	if (verb)
		return written(verb->run(argc, argv));
	if (strcmp(argv[0], "version") == 0 || strcmp(argv[0], "--version") == 0)
		return written(puts(supervisor_version) < 0);
	if (strcmp(argv[0], "help") == 0 || strcmp(argv[0], "--help") == 0 ||
	    strcmp(argv[0], "-h") == 0)
		return written(help(stdout, 0));
	log_warnx("unknown verb %s; try: supervisor help", argv[0]);
	return 2;
}

static bool is_called(const char *path, const char *name)
{
	const char *slash = strrchr(path, '/');

	return strcmp(slash ? slash + 1 : path, name) == 0;
}

/* `word`: NULL if there is none. */
static bool is_verb(const char *word)
{
	static const char *const texts[] = {"help", "--help", "-h", "version", "--version"};

	for (size_t i = 0; word && i < COUNT(texts); i++)
		if (strcmp(word, texts[i]) == 0)
			return true;
	return word && find(verbs, COUNT(verbs), word);
}

static bool is_option(const char *word)
{
	return word && strncmp(word, "--", 2) == 0;
}

/* PID 1 supervises, whatever else stands on the kernel's command line: a machine whose init ends
 * panics. */
int main(int argc, char **argv)
{
	if (argc >= 1 && is_called(argv[0], DRBD_HELPER_NAME))
		return drbd_helper(argc, argv);
	if (argc >= 2 && strcmp(argv[1], "worker") == 0)
		return run_worker(argc, argv);
	if (!is_verb(argv[1]) && (getpid() == 1 || is_option(argv[1])))
		return supervise_main(argc, argv);
	if (argc < 2)
		return help(stderr, 2);

	return run_verb(argc - 1, argv + 1);
}
