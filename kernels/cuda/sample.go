package cuda

import "radish/kernels"

// Sample queues a choice for each row.
func (b *Backend) Sample(out []kernels.SampleOut, logits kernels.Tensor, rows []kernels.SampleRow, last kernels.Tensor, slots []int32) {
	panic("cuda: sample: no kernel")
}
