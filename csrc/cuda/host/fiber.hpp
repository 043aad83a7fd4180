/// A stack of its own for each thread of a block, and the switch between them.  The address sanitizer is told of every
/// switch: it would otherwise take a fiber's stack for a stray pointer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#if !defined(__x86_64__) || defined(VARPRO_HOST_UCONTEXT)
#include <ucontext.h>
#define VARPRO_FIBER_UCONTEXT 1
#endif

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#ifndef VARPRO_FIBER_UCONTEXT
/// Saves the callee-saved registers and the stack pointer in *from, and continues at `to`.
extern "C" void varpro_fiber_switch(void** from, void* to);
#endif

namespace cuda_host {

class Fiber {
  public:
    static constexpr std::size_t kStack = 128 * 1024;

    /// Prepares a run of entry(); whatever an earlier run has left on the stack is discarded.
    void begin(void (*entry)());
    /// Called by the scheduler: continues the fiber until it pauses.
    void resume();
    /// Called by the fiber: back to the scheduler.  `last`: the fiber will not be continued.
    void pause(bool last);
    /// The first thing that a fiber does.
    void arrived();

  private:
    std::unique_ptr<char[]> stack_;
    void* own_fake_ = nullptr;
    void* scheduler_fake_ = nullptr;
    const void* scheduler_stack_ = nullptr;
    std::size_t scheduler_size_ = 0;
#ifdef VARPRO_FIBER_UCONTEXT
    ucontext_t own_, scheduler_;
#else
    void* own_ = nullptr;
    void* scheduler_ = nullptr;
#endif
};

}  // namespace cuda_host
