package discovery

func measured(p string) RegistryConfig { return RegistryConfig{} }
