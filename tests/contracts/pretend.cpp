// A CUDA device that does not exist: torch takes tensors of it for real ones, and nothing ever runs there.
//
// With torch's fake tensors, which have shapes and no numbers, a whole training step can then be counted on a machine
// without a GPU. Only `pretend.py` loads this.
#include <ATen/detail/CUDAHooksInterface.h>
#include <Python.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

namespace {

struct OneDevice : c10::impl::NoOpDeviceGuardImpl<c10::DeviceType::CUDA> {
  static c10::Device the_device() { return {c10::DeviceType::CUDA, 0}; }
  static c10::Stream the_stream() { return c10::Stream(c10::Stream::DEFAULT, the_device()); }
  c10::Device exchangeDevice(c10::Device) const override { return the_device(); }
  c10::Device getDevice() const override { return the_device(); }
  c10::Stream getStream(c10::Device) const noexcept override { return the_stream(); }
  c10::Stream exchangeStream(c10::Stream) const noexcept override { return the_stream(); }
  void record(void**, const c10::Stream&, const c10::DeviceIndex, const c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
};

OneDevice guard;
c10::impl::DeviceGuardImplRegistrar registrar(c10::DeviceType::CUDA, &guard);

PyModuleDef module = {PyModuleDef_HEAD_INIT, "pretended", nullptr, -1, nullptr};

}  // namespace

namespace at {

struct OneDevicesHooks : CUDAHooksInterface {
  explicit OneDevicesHooks(CUDAHooksArgs) {}
  void init() const override {}
  bool hasCUDA() const override { return true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(DeviceIndex) const override { return false; }
  DeviceIndex deviceCount() const override { return 1; }
  DeviceIndex current_device() const override { return 0; }
  DeviceIndex getCurrentDevice() const override { return 0; }
  int getNumGPUs() const override { return 1; }
};

using CUDAHooks = OneDevicesHooks;
REGISTER_CUDA_HOOKS(CUDAHooks)

}  // namespace at

PyMODINIT_FUNC PyInit_pretended(void) { return PyModule_Create(&module); }
