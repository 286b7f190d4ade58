/* Lets Debian's user-mode Linux 6.1 boot where the CPU has AMX: preloaded into linux.uml, built by setup.sh.
 *
 * For each switch of context user-mode Linux reads and writes the vector registers of its traced process, with room for
 * 2696 bytes: all but AMX's tiles. The host gives the first part of a larger area, but takes only a whole one (EFAULT). So a write is
 * completed here: the rest of the area is what the process has at this moment. No program in the guest can use tiles (the
 * host asks for arch_prctl first, which the guest's kernel does not pass on), so the rest never changes hands.
 *
 * Where the area fits, nothing is changed but for one more call of ptrace. The buffer is static because the kernel's stacks
 * are small, and may be, because user-mode Linux is one thread and switches context only there.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

enum { NT_X86_XSTATE_TYPE = 0x202, LARGEST_AREA = 1 << 16 };

typedef long call(enum __ptrace_request, pid_t, void *, void *);

static long write_whole_area(call *real, pid_t pid, void *type, struct iovec *part)
{
	static unsigned char area[LARGEST_AREA] __attribute__((aligned(64)));
	struct iovec whole = { area, sizeof area };

	if (real(PTRACE_GETREGSET, pid, type, &whole) || whole.iov_len <= part->iov_len)
		return real(PTRACE_SETREGSET, pid, type, part);
	memcpy(area, part->iov_base, part->iov_len);
	return real(PTRACE_SETREGSET, pid, type, &whole);
}

long ptrace(enum __ptrace_request request, ...)
{
	static call *real;
	va_list words;

	va_start(words, request);
	pid_t pid = va_arg(words, pid_t);
	void *addr = va_arg(words, void *);
	void *data = va_arg(words, void *);
	va_end(words);
	if (!real)
		real = (call *)dlsym(RTLD_NEXT, "ptrace");
	if (request == PTRACE_SETREGSET && addr == (void *)NT_X86_XSTATE_TYPE)
		return write_whole_area(real, pid, addr, data);
	return real(request, pid, addr, data);
}
