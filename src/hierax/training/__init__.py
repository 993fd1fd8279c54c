"""The loop: it follows a plan over the levels, and refines, selects and continues as the plan asks for."""
