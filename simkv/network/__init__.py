"""How KV moves: links that contend, what they can carry over time, headers, who is joined to whom."""
