"""What a design costs: synthesis with Yosys, place and route with nextpnr."""
