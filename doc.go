package penstock
