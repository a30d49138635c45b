/*
 * Kernel modules without modprobe: modules.dep of the running kernel names the file of each module
 * and what it needs; finit_module(2) loads them, the deepest dependency first (depmod's order: a
 * line lists them last to first).
 *
 * Options, aliases, blacklists and soft dependencies of modprobe.d are not read: a profile names
 * real modules, in the order in which they are wanted.
 */
#ifndef SUPERVISOR_NODE_MODULES_H
#define SUPERVISOR_NODE_MODULES_H

#include <stddef.h>

#define MODULE_NAME_BYTES	64
#define MODULE_DEPENDENCIES_MAX 64

/*
 * Loads module `name` ('-' and '_' are the same) and what it depends on. 0 also when it is already
 * there, or built into the kernel. -1 with a message printed: what was tried, on which file, what
 * the system answered.
 */
int modules_load(const char *name);

/*
 * The pure part: finds the line of `name` in the text of a modules.dep and fills path[] with
 * offsets into the text, the module itself first, then its dependencies as listed. Returns how
 * many, 0 if the module is not in the text, -1 if the line is broken or has more than `max`.
 * Lengths without NUL.
 */
struct module_path {
	const char *text;
	size_t length;
};
int modules_dep_find(const char *text, size_t size, const char *name, struct module_path *path,
		     size_t max);

#endif
