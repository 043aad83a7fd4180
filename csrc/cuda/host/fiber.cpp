#include "fiber.hpp"

#ifndef VARPRO_FIBER_UCONTEXT
// ucontext enters the kernel at every switch to save the signal mask; six registers and the stack pointer are enough
// here.
asm(R"(
.text
.globl varpro_fiber_switch
.type varpro_fiber_switch, @function
varpro_fiber_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size varpro_fiber_switch, .-varpro_fiber_switch
)");
#endif

namespace cuda_host {

void Fiber::begin(void (*entry)()) {
    if (!stack_) stack_ = std::make_unique_for_overwrite<char[]>(kStack);
#if defined(__SANITIZE_ADDRESS__)
    ASAN_UNPOISON_MEMORY_REGION(stack_.get(), kStack);
#endif
#ifdef VARPRO_FIBER_UCONTEXT
    getcontext(&own_);
    own_.uc_stack.ss_sp = stack_.get();
    own_.uc_stack.ss_size = kStack;
    own_.uc_link = nullptr;
    makecontext(&own_, entry, 0);
#else
    const auto end = reinterpret_cast<std::uintptr_t>(stack_.get() + kStack) / 16 * 16;
    void** top = reinterpret_cast<void**>(end);
    *--top = nullptr;  // in place of a return address: entry() begins with the alignment of a called function
    *--top = reinterpret_cast<void*>(entry);
    for (int saved = 0; saved < 6; ++saved) *--top = nullptr;
    own_ = top;
#endif
}

void Fiber::resume() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&scheduler_fake_, stack_.get(), kStack);
#endif
#ifdef VARPRO_FIBER_UCONTEXT
    swapcontext(&scheduler_, &own_);
#else
    varpro_fiber_switch(&scheduler_, own_);
#endif
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(scheduler_fake_, nullptr, nullptr);
#endif
}

void Fiber::pause([[maybe_unused]] bool last) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(last ? nullptr : &own_fake_, scheduler_stack_, scheduler_size_);
#endif
#ifdef VARPRO_FIBER_UCONTEXT
    swapcontext(&own_, &scheduler_);
#else
    varpro_fiber_switch(&own_, scheduler_);
#endif
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(own_fake_, &scheduler_stack_, &scheduler_size_);
#endif
}

void Fiber::arrived() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack_, &scheduler_size_);
#endif
}

}  // namespace cuda_host
