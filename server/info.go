package server

// info is /server_info's list of settings: what may be told to a client, and no secret.
func (s *Server) info() map[string]any {
	p, c := s.core.Plan, s.cfg
	return map[string]any{
		"version":              c.Version,
		"model_path":           c.Model.Path,
		"served_model_name":    s.Name(),
		"device":               orDefault(c.Compute.Device, "cpu"),
		"device_reason":        c.Compute.Why,
		"backend":              s.core.Backend,
		"dtype":                p.Act.String(),
		"context_length":       p.Context,
		"mem_fraction_static":  orDefault(c.Sched.MemFraction, c.Compute.sizes().fraction),
		"max_total_num_tokens": p.Tokens(),
		"max_req_input_len":    p.Context - 1,
		"max_running_requests": p.MaxRunning,
		"max_queued_requests":  c.Sched.MaxQueued,
		"chunked_prefill_size": p.Chunk,
		"max_prefill_tokens":   orDefault(c.Sched.MaxPrefillTokens, defaultPrefill),
		"page_size":            p.PageSize,
		"schedule_policy":      c.Sched.Policy.String(),
		"disable_radix_cache":  c.Sched.DisableRadix,
		"load_format":          loadFormat(c.Model),
		"skip_tokenizer_init":  c.Model.SkipTokenizer,
		"decode_log_interval":  c.DecodeLogInterval,
		"tp_size":              1,
		"weight_bytes":         p.Weights,
		"kv_bytes":             p.KV,
		"workspace_bytes":      p.Workspace,
	}
}

func loadFormat(m ModelConfig) string {
	if m.Dummy {
		return "dummy"
	}
	return "safetensors"
}

func (s *Server) modelInfo() map[string]any {
	c := s.core.Plan.config
	return map[string]any{
		"is_generation": true,
		"model_type":    c.ModelType,
		"architectures": c.Architectures,
		"vocab_size":    c.VocabSize,
		"parameters":    s.core.Plan.Spec.Parameters(),
	}
}
